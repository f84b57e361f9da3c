// The list keeps itself up to date; a click on a code copies it.
const list = document.getElementById('messages')

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch('/dev/mail', { headers: { Accept: 'text/html' } })
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('messages')
      if (fresh && fresh.innerHTML !== list.innerHTML) list.replaceChildren(...fresh.childNodes)
    } catch {
      // postern dev was stopped; it may come back
    }
  }
  setTimeout(refresh, 1000)
}

if (list) setTimeout(refresh, 1000)

document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]')
  if (!button) return
  await navigator.clipboard.writeText(button.dataset.copy)
  button.textContent = 'Copied'
  setTimeout(() => { button.textContent = button.dataset.copy }, 1000)
})
