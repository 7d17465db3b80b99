"""A chat template that loops, recurses or grows without end is refused, in bounded time and memory."""

from __future__ import annotations

import pytest
from edgeproof.contracts.chat import render_chat
from edgeproof.contracts.errors import TokenizerError
from edgeproof_tests.bounded import bounded

R = "range(99999)"
SIXTY = "{% for i in range(60) %}"
LOOP = "{% for i in " + R + " %}"
HOSTILE = {
    "nested loops": LOOP * 3 + "x" + "{% endfor %}" * 3,
    "a loop with a long text": LOOP + "{% for j in range(99) %}" + "x" * 100_000 + "{% endfor %}{% endfor %}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}"
    "{{ m(60) }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a recursive loop": "{% for i in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "a text times a number": "{{ 'x' * 10**10 }}",
    "a number times a list": "{{ (10**10 * [0])|length }}",
    "a power": "{{ 10 ** (10 ** 8) }}",
    "powers": "{% set n = namespace(x=10) %}" + SIXTY + "{% set n.x = n.x ** 10 %}{% endfor %}{{ n.x }}",
    "doubling by +": "{% set n = namespace(x='x') %}" + SIXTY + "{% set n.x = n.x + n.x %}{% endfor %}",
    "doubling by ~": "{% set n = namespace(x='x') %}" + SIXTY + "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling by output": "{% set x %}yy{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60,
    "doubling by join": "{% set n = namespace(x='x') %}" + SIXTY + "{% set n.x = [n.x, n.x]|join %}{% endfor %}",
    "doubling lists": "{% set n = namespace(x=[]) %}" + SIXTY + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "doubling a dict": "{% set n = namespace(x={}) %}" + SIXTY + "{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}"
    "{{ n.x|tojson }}",
    "replacing": "{{ ('x' * 99999).replace('x', 'y' * 99999) }}",
    "a replacing filter": "{{ ('x' * 99999)|replace('', 'y' * 99999) }}",
    "padding": "{{ 'x'|center(10**10) }}",
    "a padding method": "{{ 'x'.ljust(10**10) }}",
    "a padding format": "{{ '%9999999999d' % 1 }}",
    "a padding format method": "{{ '{:9999999999}'.format(1) }}",
    "a padding format filter": "{{ '%9999999999d'|format(1) }}",
    "an indented text": "{{ ('\\n' * 99999)|indent(99999) }}",
    "indented JSON": "{{ [[[1]]]|tojson(indent=10**10) }}",
    "a mapped filter": "{{ " + R + "|map('center', 9999)|join }}",
    "long words": "{{ ('x' * 99999)|wordwrap(1, wrapstring='y' * 99999) }}",
    "twenty-one blocks": "{% for a in [1] %}" * 21 + "{% endfor %}" * 21,
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a long number": "{{ " + "9" * 5000 + " }}",
    "a message of megabytes": "{{ [].append(('x' * 3000000)) }}{{ ('x' * 3000000).nothing.more }}",
    "lipsum": "{{ lipsum(n=10**7) }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused(name):
    with bounded(kib=600_000), pytest.raises(TokenizerError) as caught:
        render_chat(HOSTILE[name], [{"role": "user", "content": "Hello"}], bos_token="", eos_token="")
    assert caught.value.next_step
    assert len(str(caught.value)) < 1000


def test_a_long_conversation_is_rendered_whole():
    template = (
        "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages|list %}"
        "{{ '<' ~ m.role ~ '>' + m['content']|trim + '\\n' }}"
        "{{ m.content.replace('x', 'y')|length }}{% if loop.index0 > ns.last %}!{% endif %}{% endfor %}"
    )
    messages = [{"role": ("user", "assistant")[i % 2], "content": f"{i} " + "x" * 10_000} for i in range(200)]
    text = render_chat(template, messages, bos_token="", eos_token="")
    assert text.count("x" * 10_000) == 200
    assert text.startswith("<user>0 x")
    assert text.endswith("!")


def test_the_budget_is_that_of_one_rendering():
    template = "{% for i in " + R + " %}{% for j in range(30) %}{% endfor %}{% endfor %}x"
    for _ in range(3):
        assert render_chat(template, [], bos_token="", eos_token="") == "x"
