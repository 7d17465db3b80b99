"""Chats are rendered as transformers renders them, in a sandbox."""

from __future__ import annotations

import subprocess
import sys

import pytest
from edgeproof.contracts.chat import TEMPLATE_DATE, render_chat, template_accepts
from edgeproof.contracts.errors import InputError, TokenizerError

ENDS = {"bos_token": "<s>", "eos_token": "</s>"}
MESSAGES = [
    {"role": "system", "content": "Sei knapp. <b>&</b>"},
    {"role": "user", "content": "  Wie heißt die Hauptstadt? 🚀 \n"},
    {"role": "assistant", "content": "Paris's"},
    {"role": "user", "content": "Danke"},
]
TEMPLATES = {
    "chatml": "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "trimmed blocks": "{{ bos_token }}\n{% for m in messages %}\n    {% if loop.first %}\n  first\n    {% endif %}\n"
    "{{ m.content | trim }}{{ eos_token }}\n{% endfor %}\n",
    "loop controls": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.role }}"
    "{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
    "json": "{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }}"
    "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}",
    "date": "{{ strftime_now('%d %b %Y') }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "namespace": "{% set ns = namespace(found=false) %}{% for m in messages %}{% set ns.found = true %}{% endfor %}"
    "{{ ns.found }}{{ messages[1:] | length }}{{ tools is none }}{{ documents is none }}{{ unk_token is defined }}",
    "methods": "{{ messages[1].content.strip().split()[-1] }}{{ messages[2].content.replace(\"'\", '’') }}",
}


@pytest.mark.torch
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompt", [True, False])
def test_chats_equal_transformers(name, prompt, monkeypatch):
    pytest.importorskip("transformers")
    from transformers.utils import chat_template_utils

    class Clock:
        @staticmethod
        def now():
            return TEMPLATE_DATE

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    (expected,), _ = chat_template_utils.render_jinja_template(
        [MESSAGES], chat_template=TEMPLATES[name], add_generation_prompt=prompt, **ENDS
    )
    ours = render_chat(TEMPLATES[name], MESSAGES, **ENDS, add_generation_prompt=prompt)
    assert ours == expected


def test_the_date_never_changes():
    assert render_chat("{{ strftime_now('%Y-%m-%d') }}", [], bos_token="", eos_token="") == "2024-07-26"


def test_a_template_may_refuse_messages():
    template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(InputError, match="refuses these messages: System role not supported") as caught:
        render_chat(template, MESSAGES, bos_token="", eos_token="")
    assert not isinstance(caught.value, TokenizerError)
    assert not template_accepts(template, MESSAGES, bos_token="", eos_token="")
    assert template_accepts("fine", MESSAGES, bos_token="", eos_token="")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a\n{% if %}", r"not valid Jinja: .* \(line 2\)"),
        ("{{ messages[0].x.y }}", "UndefinedError"),
        ("{{ messages[0]['content'] + 1 }}", "TypeError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ messages[1e999] }}", "NameError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "SecurityError"),
        ("{% for i in range(10000000) %}{% endfor %}", "OverflowError"),
    ],
)
def test_a_broken_or_malicious_template_is_an_error(template, message):
    with pytest.raises(TokenizerError, match=message):
        render_chat(template, MESSAGES, bos_token="", eos_token="")


def test_a_template_cannot_change_the_callers_messages():
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(TokenizerError):
        render_chat("{{ messages[0].update({'content': 'y'}) }}", messages, bos_token="", eos_token="")
    assert messages == [{"role": "user", "content": "x"}]


def test_jinja_is_imported_on_the_first_use_only():
    check = "import sys, edgeproof.contracts.chat; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", check], check=False).returncode == 0
