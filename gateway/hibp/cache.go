package hibp

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps the answers that were used last, each until it is too old.
type cache struct {
	most   int
	maxAge time.Duration

	mutex  sync.Mutex
	byUse  *list.List // of *kept, the one used last in front
	byName map[string]*list.Element
}

type kept struct {
	prefix string
	known  []uint64
	at     time.Time
}

func newCache(most int, maxAge time.Duration) *cache {
	return &cache{most: most, maxAge: maxAge, byUse: list.New(), byName: map[string]*list.Element{}}
}

func (c *cache) get(prefix string) ([]uint64, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	element, ok := c.byName[prefix]
	if !ok {
		return nil, false
	}
	k := element.Value.(*kept)
	if time.Since(k.at) >= c.maxAge {
		c.remove(element)
		return nil, false
	}
	c.byUse.MoveToFront(element)
	return k.known, true
}

func (c *cache) put(prefix string, known []uint64) {
	if c.most < 0 {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	// Two lookups of one prefix may have run at the same time.
	if element, ok := c.byName[prefix]; ok {
		c.remove(element)
	}
	c.byName[prefix] = c.byUse.PushFront(&kept{prefix: prefix, known: known, at: time.Now()})
	if c.byUse.Len() > c.most {
		c.remove(c.byUse.Back())
	}
}

func (c *cache) remove(element *list.Element) {
	delete(c.byName, element.Value.(*kept).prefix)
	c.byUse.Remove(element)
}
