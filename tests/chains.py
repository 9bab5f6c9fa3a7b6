"""Models that write a given text whatever they are asked, token by token as it is given."""

import runpy
from collections.abc import Sequence
from pathlib import Path

import gguf

MAKER = runpy.run_path(str(Path(__file__).parent.parent / "extras" / "make_demo_model.py"))

TOOL_TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
For each call return <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.reasoning_content is string %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content if message.content is string else '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endif %}"""
"""A template in the manner of Hermes and Qwen 3: the engine finds the marks of reasoning and calls in it."""


def make_chain(path: Path, tokens: Sequence[str], template: str = TOOL_TEMPLATE) -> Path:
    """Write a model that answers with these tokens, each of them different, and return its path."""
    answer = [token.replace(" ", MAKER["SPACE"]) for token in tokens]
    writer = gguf.GGUFWriter(path, "llama")
    MAKER["add_shape"](writer)
    MAKER["add_tokenizer"](writer, answer)
    writer.add_chat_template(template)
    MAKER["add_weights"](writer, answer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
