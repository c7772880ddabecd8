"""Templates of messages: what they may say, and that none of them runs for long or makes much."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from alertd.channels.templates.filters import plain
from alertd.channels.templates.meter import TemplateFailed
from alertd.channels.templates.template import MAX_SOURCE_CHARS, Template

VALUES: Mapping[str, Any] = {
    "text": "X" * 1000,
    "none": None,
    "rows": [{"name": f"r{n}", "value": n / 2, "labels": {"host": "h"}} for n in range(1000)],
    "labels": {"host": "web-1", "items": "kept"},
}


def template(source: str, max_chars: int = 10_000) -> Template:
    return Template(
        source,
        show=plain,
        max_chars=max_chars,
        names=VALUES.keys(),
        attributes=("name", "value", "labels"),
        open_names=("labels",),
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a {{ labels.host }} b", "a web-1 b"),
        ("{{ labels.items }} {{ labels['host'] }}", "kept web-1"),
        ("[{{ none }}]", "[]"),
        ("{{ rows[3].value }} {{ rows[2].value }}", "1.5 1"),
        ("{% for r in rows[:2] %}{{ loop.index }}:{{ r.name }} {% endfor %}", "1:r0 2:r1 "),
        ("{% for r in rows if r.value > 499 %}{{ r.name }} {% endfor %}", "r999 "),
        ("{% if rows | length > 9 %}many{% else %}few{% endif %}", "many"),
        ("{{ rows | map('name') | join(', ') | truncate(9) }}", "r0, r1, …"),
        ("{{ rows | sort('value', reverse=true) | map('name') | first }}", "r999"),
        ("{% set n = 2 * 3 + 1 %}{{ n }} {{ n // 2 }} {{ n % 2 }}", "7 3 1"),
        ("{{ 'a' ~ 1 ~ none ~ 'b' }} {{ 'a' + 'b' }}", "a1b ab"),
        ("{{ none | default('-') }} {{ 'x' if none else 'y' }}", "- y"),
        ("{{ labels.host | upper | replace('WEB', 'w') }}", "w-1"),
        ("{{ 90 | duration }} {{ 1.50 | number }}", "1 min 30 s 1.5"),
        ("{% for k, v in labels | items %}{{ k }}={{ v }} {% endfor %}", "host=web-1 items=kept "),
        ("{{ 'web' in labels.host and rows is defined }}", "True"),
        ("{# nothing #}{{ 'é/ü' | urlencode }}", "%C3%A9%2F%C3%BC"),
        ("{{ ['b', 'a', 'b'] | unique | sort | last }}", "b"),
    ],
)
def test_what_a_template_can_say(source: str, text: str) -> None:
    assert template(source).render(VALUES) == text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a\n{{ nobody }}", "line 2: there is no variable 'nobody'"),
        ("{{ txt }}", "did you mean 'text'"),
        ("{{ _meter }}", "no variable '_meter'"),
        ("{{ rows[0].valeu }}", "no .valeu; did you mean 'value'"),
        ("{% for r in rows %}{{ r.nam }}{% endfor %}", "no r.nam; did you mean 'name'"),
        ("{% for r in rows %}{{ loop.idx }}{% endfor %}", "did you mean 'index'"),
        ("{{ text | uper }}", "no filter 'uper'; did you mean 'upper'"),
        ("{{ text | _loop(1) }}", "no filter"),
        ("{{ text is odd }}", "no test 'odd'"),
        ("{{ text.upper() }}", "'call'"),
        ("on {{ $labels.host }}", "names have no $ and no dot before them: {{ labels.host }}"),
        ("{{$value}}", "names have no $ and no dot before them"),
        ("{{ .Labels.host }}", "names have no $ and no dot before them"),
        ("{{ range(10) }}", "'call'"),
        ("{{ 2 ** 9 }}", "'pow'"),
        ("{% macro m() %}{% endmacro %}", "'macro'"),
        ("{% set x %}{{ text }}{% endset %}", "'assignblock'"),
        ("{% filter upper %}x{% endfilter %}", "'filterblock'"),
        ("{% include 'x' %}", "'include'"),
        ("{% for r in rows recursive %}{% endfor %}", "recursive"),
        ("{% set a = text %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}", "texts and numbers only"),
        ("{% set a = (rows, rows) %}", "texts and numbers only"),
        ("{{ text", "line 1: "),
        ("{% if %}", "line 1: "),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("{{ 1" + " | abs" * 300 + " }}", "nested too deeply"),
        ("{% for r in rows %}" * 30 + "{% endfor %}" * 30, "nested too deeply"),
        ("{{ " + "not " * 2000 + "1 }}", "nested too deeply"),
        ("x" * (MAX_SOURCE_CHARS + 1), "longer than"),
    ],
)
def test_what_is_no_template_is_refused_with_its_line(source: str, words: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        template(source)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a\n{{ 1 / 0 }}", "line 2: division by zero"),
        ("{{ text['__class__'] }}", "no attribute"),
        ("{{ labels.nothing }}", "'nothing'"),
        ("{{ labels.nothing | upper }}", "'nothing'"),
        ("{{ 'a' * 9 }}", "it is for numbers"),
        ("{{ rows + rows }}", "it is for numbers"),
        ("{{ none | upper }}", "line 1: a value here is missing in some messages; write"),
        ("a\n{{ none | round }}", "line 2: a value here is missing"),
        ("{{ none + 1 }}", "line 1: a value here is missing"),
        ("{{ text | replace('', 'x') }}", "replaces nothing"),
    ],
)
def test_what_fails_says_where_and_why(source: str, words: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        template(source).render(VALUES)
    assert words in str(caught.value)
    assert str(caught.value).startswith("line ")


LOOP = "{% for r in rows %}"
END = "{% endfor %}"
GREEDY = [
    LOOP * 3 + END * 3,
    LOOP * 2 + "{% if r.value > 1 %}{% endif %}" * 100 + END * 2,
    LOOP + "{% for r in rows | sort('value') %}{% endfor %}" * 9 + END,
    LOOP + "{% set x = rows | map('name') | join %}" * 50 + END,
    LOOP + "{{ text }}" + END,
    "{% set a = text %}" + "{% set a = a ~ a %}" * 60,
    "{% set a = text %}" + "{% set a = a + a %}" * 60,
    "{% set a = text %}" + "{% set a = a | replace('X', 'XXXXXXXX') %}" * 60,
    "{% set a = rows | map('name') | join('" + "Y" * 1000 + "') %}{{ a }}",
    LOOP + "{% for c in text %}{% endfor %}" + END,
    "{{ 5 | round(-1000000000) }}",
    *(
        "{% set long = text | replace('X', '"
        + "Y" * 60
        + "') %}{% set part = long[:99] ~ 'Z' %}"
        + LOOP * 2
        + search
        + END * 2
        for search in ("{{ part in long }}", "{{ part not in long }}", "{{ part is in long }}")
    ),
]


@pytest.mark.parametrize("source", GREEDY)
def test_what_would_take_long_or_make_much_is_stopped(source: str) -> None:
    began_s = time.process_time()
    with pytest.raises(TemplateFailed, match=r"more than|joins|replaces"):
        template(source).render(VALUES)
    # Some 50 ms; without bounds the longest of them would take hours, or all memory.
    assert time.process_time() - began_s < 5


def test_numbers_do_not_grow_without_bound() -> None:
    source = "{% set a = 3 %}" + "{% set a = a * a %}" * 60 + "{{ a }}"
    assert template(source).render(VALUES) == "inf"


def test_a_text_has_at_most_the_length_that_it_may_have() -> None:
    assert template("{{ text }}", max_chars=1000).render(VALUES) == VALUES["text"]
    with pytest.raises(TemplateFailed, match="more than 999"):
        template("{{ text }}", max_chars=999).render(VALUES)


def test_a_template_is_of_use_again_after_it_was_stopped() -> None:
    once = template("{% for r in rows %}{% for q in rows %}{% endfor %}{% endfor %}{{ text }}")
    with pytest.raises(TemplateFailed):
        once.render(VALUES)
    assert once.render({**VALUES, "rows": []}) == VALUES["text"]
