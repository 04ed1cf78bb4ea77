"""Chat templates: those with a name, what the models have, and a check that a template is one."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from graphmerge.checkpoint.access import machine_errors, read_json_object, read_optional_object
from graphmerge.errors import Problem, RecipeError
from graphmerge.vocabulary.file_names import BINARY, READABLE, SETTINGS, SPECIAL_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from graphmerge.checkpoint.values import Checkpoint

TEMPLATE_FILE = "chat_template.jinja"
TOKENIZER_FILES = frozenset({*READABLE, *BINARY, SETTINGS, SPECIAL_TOKENS, TEMPLATE_FILE})
"""Files that say which tokens a model has, and how chats are written."""
BUILT_IN = {
    "alpaca": (
        "{{ bos_token or '' }}{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
        "{% elif message['role'] == 'user' %}"
        "{{ '### Instruction:\\n' + message['content'] + '\\n\\n' }}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ '### Response:\\n' + message['content'] + (eos_token or '') + '\\n\\n' }}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
    ),
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "llama3": (
        "{{ bos_token or '' }}{% for message in messages %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
        " + message['content'] | trim + '<|eot_id|>' }}"
        "{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token or '' }}{% set ns = namespace(system='') %}{% for message in messages %}"
        "{% if message['role'] == 'system' %}{% set ns.system = message['content'] + '\\n\\n' %}"
        "{% elif message['role'] == 'user' %}"
        "{{ '[INST] ' + ns.system + message['content'] + ' [/INST]' }}{% set ns.system = '' %}"
        "{% elif message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + (eos_token or '') }}"
        "{% endif %}{% endfor %}"
    ),
    "exaone": (
        "{% for message in messages %}"
        "{% if loop.first and message['role'] != 'system' %}{{ '[|system|][|endofturn|]\\n' }}"
        "{% endif %}{{ '[|' + message['role'] + '|]' + message['content'] }}"
        "{% if message['role'] != 'user' %}{{ '[|endofturn|]' }}{% endif %}{{ '\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}"
    ),
}
"""By name, written from the published prompt formats."""
_GENERATION_TAGS = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
"""Tags that transformers knows and Jinja does not."""


def chosen_template(wanted: str, found: Iterable[str | None]) -> str | None:
    """The template that a recipe asks for; None for `auto` if no model has one.

    Args:
        wanted: `auto` (the most common among the models, the first of equally common ones), the
            name of a built-in, or a template.
        found: Those that the models have, the donor's first; looked at for `auto`.

    Raises:
        RecipeError: it is no Jinja template.
    """
    if wanted == "auto":
        counted = Counter(template for template in found if template is not None)
        return counted.most_common(1)[0][0] if counted else None
    if wanted in BUILT_IN:
        return BUILT_IN[wanted]
    check_template(wanted)
    return wanted


def template_of(model: Checkpoint) -> str | None:
    """The chat template of a model, if it has one."""
    files = {file.name: file for file in model.side_files}
    if TEMPLATE_FILE in files:
        with machine_errors(files[TEMPLATE_FILE]):
            return files[TEMPLATE_FILE].read_text(encoding="utf-8")
    if SETTINGS not in files:
        return None
    template: Any = read_json_object(files[SETTINGS]).get("chat_template")
    if isinstance(template, list):  # several with names
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def template_files(template: str, folder: Path) -> dict[str, str]:
    """The files that give an output a chat template, by name.

    Args:
        template: The template.
        folder: Where the other settings of the tokenizer are.
    """
    settings = read_optional_object(folder / SETTINGS)
    settings["chat_template"] = template
    return {
        SETTINGS: json.dumps(settings, ensure_ascii=False, indent=2),
        TEMPLATE_FILE: template,
    }


def check_template(wanted: str) -> None:
    """Refuse what is neither `auto`, nor the name of a built-in, nor a Jinja template.

    Raises:
        RecipeError: it is none of them, or it uses a filter or a test that there is not.
    """
    if wanted == "auto" or wanted in BUILT_IN:
        return
    from jinja2 import Environment, TemplateSyntaxError  # noqa: PLC0415 - few recipes need it

    # Nothing is rendered, so nothing needs escaping: the text goes into a tokenizer's settings.
    environment = Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True)
    try:
        environment.compile(_GENERATION_TAGS.sub("", wanted))  # looks filters up, runs nothing
    except TemplateSyntaxError as error:
        where = f"$.chat_template, line {error.lineno}"
        raise RecipeError(Problem("not a Jinja template", where, error.message or "")) from error
