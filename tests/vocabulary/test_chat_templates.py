"""Chat templates: built-in, the most common one, and literal ones, checked before the run."""

import json

import pytest
import transformers
from vocabulary_models import bpe, merge, write_model

from graphmerge.errors import InputError
from graphmerge.pipeline import compile_recipe
from graphmerge.vocabulary.chat_templates import BUILT_IN

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
]


@pytest.fixture
def folder(tmp_path):
    for number, (name, template) in enumerate({"a": "one", "b": "two", "c": "two"}.items()):
        write_model(tmp_path / name, number + 1, bpe("ab", []), template=template)
    return tmp_path


def recipe(folder, template):
    models = [{"model": str(folder / name), "parameters": {"weight": 1}} for name in "abc"]
    content = {"merge_method": "linear", "models": models, "chat_template": template}
    (folder / "recipe.yml").write_text(json.dumps(content))
    return (folder / "recipe.yml").read_text()


def written(folder, template):
    out, _ = merge(folder, recipe(folder, template))
    (out / "chat_template.jinja").read_text()
    return transformers.AutoTokenizer.from_pretrained(out)


def test_auto_is_the_most_common(folder):
    assert written(folder, "auto").chat_template == "two"
    assert notes(folder) == ["chat template: that of b, which 2 of 3 models have"]


def test_auto_without_any_template_is_told(folder):
    for name in "abc":
        (folder / name / "chat_template.jinja").unlink()
    recipe(folder, "auto")
    assert notes(folder) == ["chat template: none, as no model has one"]
    assert not compile_recipe(folder / "recipe.yml").chat_template


def notes(folder):
    found = compile_recipe(folder / "recipe.yml").build.graph.notes
    return [note for note in found if note.startswith("chat template")]


def test_tokens_that_the_tokenizer_lacks_are_told(folder):
    recipe(folder, "chatml")
    assert notes(folder) == ["chat template: chatml"]
    (warning,) = compile_recipe(folder / "recipe.yml").build.graph.warnings
    assert "writes <|im_start|>, <|im_end|>, of which" in warning
    content = json.loads((folder / "recipe.yml").read_text())
    zero = {"source": {"kind": "zero"}}
    content["tokenizer"] = {"tokens": {"<|im_start|>": zero, "<|im_end|>": zero}}
    (folder / "recipe.yml").write_text(json.dumps(content))
    assert not compile_recipe(folder / "recipe.yml").build.graph.warnings


@pytest.mark.parametrize(
    ("name", "part"),
    {
        "alpaca": "### Instruction:\nHi\n\n### Response:\nHello",
        "chatml": "<|im_start|>user\nHi<|im_end|>\n",
        "llama3": "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
        "mistral": "[INST] Be brief.\n\nHi [/INST] Hello",
        "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n[|assistant|]Hello",
    }.items(),
)
def test_built_in(folder, name, part):
    tokenizer = written(folder, name)
    assert tokenizer.chat_template == BUILT_IN[name]
    assert part in tokenizer.apply_chat_template(CHAT, tokenize=False)


def test_literal(folder):
    assert written(folder, "{{ messages[0]['content'] }}").chat_template.startswith("{{ messages")


BROKEN = {
    "{% for message in messages %}{{ message }}": "not a Jinja template",
    "{{ messages | shorten }}": "No filter named 'shorten'",
    "{{ messages is few }}": "No test named 'few'",
    "chatlm": "did you mean 'chatml'",
    "": "an empty text",
}


@pytest.mark.parametrize("template", BROKEN)
def test_a_broken_template_is_refused_before_the_run(template, folder):
    recipe(folder, template)
    with pytest.raises(InputError, match=BROKEN[template]):
        compile_recipe(folder / "recipe.yml")


@pytest.mark.parametrize(
    "template",
    [
        "{% generation %}{{ messages | tojson }}{%- endgeneration -%}",
        "{% for m in messages %}{% if m is none %}{% break %}{% endif %}{% endfor %}",
        "{{ raise_exception('no') if not messages }}{{ strftime_now('%d') }}",
    ],
)
def test_what_transformers_adds_to_jinja_is_no_mistake(template, folder):
    recipe(folder, template)
    assert compile_recipe(folder / "recipe.yml").chat_template == template


GRAPH = """
graph:
  first: {{merge_method: passthrough, models: [{{model: {0}/a}}]{first}}}
  second: {{merge_method: passthrough, models: [{{model: {0}/b}}]{second}}}
  out: {{op: weighted-sum, inputs: [first, second], normalize: true}}
output: out
{out}
"""
SAID = {"first": ", chat_template: alpaca", "second": ", chat_template: mistral"}
IDLE = "entry {}: chat_template has no effect: the output has another one"


@pytest.mark.parametrize(
    ("said", "template", "idle"),
    [
        (("first",), "alpaca", ()),
        (("second",), None, ("second",)),
        (("first", "second"), "alpaca", ("second",)),
        (("first", "second", "out"), "chatml", ("first", "second")),
    ],
)
def test_a_template_that_the_output_does_not_get_is_told(folder, said, template, idle):
    """That of the entry whose tokenizer files the output has is its own, unless it says another."""
    parts = {entry: SAID[entry] if entry in said else "" for entry in SAID}
    out = "chat_template: chatml" if "out" in said else ""
    (folder / "recipe.yml").write_text(GRAPH.format(folder, **parts, out=out))
    made = compile_recipe(folder / "recipe.yml")
    assert made.chat_template == (BUILT_IN[template] if template else "")
    told = [text for text in made.build.graph.warnings if "has no effect" in text]
    assert [text.split(" (")[0] for text in told] == [IDLE.format(entry) for entry in idle]
