package mailtemplate

import "testing"

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ html, want string }{
		{"<h2>Hello</h2>\n\n<p>One\n  line &amp; <b>bold</b>, here.</p><p>Two</p>", "Hello\n\nOne line & bold, here.\n\nTwo"},
		{`<p><a href="https://a.test/?x=1&amp;y=2">Confirm it</a></p>`, "Confirm it (https://a.test/?x=1&y=2)"},
		{`<p>See <a href="https://a.test/"><b>this</b> page</a>.</p>`, "See this page (https://a.test/)."},
		{`<a href="https://a.test/">https://a.test/</a>, <a href="mailto:a@b.c">a@b.c</a> <a href="#top">up</a> <a>name</a>`, "https://a.test/, a@b.c up name"},
		{`<a href="https://a.test/"><img src="x"></a> <a href="https://b.test/"><img src=x alt="Logo"></a>`, "https://a.test/ Logo (https://b.test/)"},
		{"<a href=\"https://a.test/\"><div>Button</div></a><p>next</p>", "Button (https://a.test/)\n\nnext"},
		{"a<br>b<br/><br>c", "a\nb\n\nc"},
		{"<ul><li>one</li><li>two <i>x</i></ul>end", "- one\n- two x\n\nend"},
		{"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"},
		{"<head><title>T</title><style>p { }</style></head><body><script>1 < 2</script><p>x", "x"},
		{`<div style="display: none;">preview<div>more</div></div><div hidden>h</div><p>seen&nbsp;&zwnj;</p>`, "seen \u200c"},
		{"<!-- <p>no</p> --><p>yes</p>", "yes"},
		{"1 < 2 <b", "1 < 2 <b"},
		{"Your code: <strong>493817</strong>", "Your code: 493817"},
		{"", ""},
	} {
		if got := plain(test.html); got != test.want {
			t.Errorf("%s\ngot  %q\nwant %q", test.html, got, test.want)
		}
	}
}
