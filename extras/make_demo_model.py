"""Which bytes make the model that relayd demonstrates itself with?

The weights are in closed form: nothing is trained and nothing is random. Each token of the answer has its own
dimension in the first half of the embedding, and the output row of a token looks at the dimension of the one
before it. Every other token (character, byte, special) lights one shared dimension, which the first token of
the answer looks at: whatever the prompt, the answer follows from its beginning.
The second half of the embedding holds a fingerprint of the token. Attention adds up the fingerprints read so
far, and no output row looks there: embeddings tell texts apart while the answer stays as it is.

Run ``python extras/make_demo_model.py [FILE]``; without FILE it writes ``relayd/demo.gguf``.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float16]

ANSWER = (
    "Hello from relayd! This is its built-in demo model: the words are fixed, because there is no real "
    "language model behind them. Everything else is genuine: a real llama-server produced this answer word "
    "by word, and relayd streamed it to you. To talk with a model of your own, run "
    "`relayd serve ./your-model.gguf` and ask again."
)

# Tolerates what clients send: content as text, as parts, or null (an assistant turn that only calls tools).
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ message['role'] + ': ' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- elif message['content'] -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}"
    "{%- endif -%}"
    "{{ '\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'assistant:' }}{%- endif -%}"
)

SPACE = "\u2581"  # stands for a space in SentencePiece vocabularies
SPECIALS = ("<unk>", "<s>", "</s>")
UNKNOWN, BEGIN, END = range(len(SPECIALS))
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
CHARACTERS = (SPACE, *map(chr, range(ord("!"), ord("~") + 1)))
NEWLINE = len(SPECIALS) + ord("\n")
QUOTE, BRACKET, BRACE = (len(SPECIALS) + len(BYTES) + CHARACTERS.index(closing) for closing in '"]}')

WIDTH = 128
HALF = WIDTH // 2  # states below, fingerprints above; also the size of an attention head
START = HALF - 1  # the state of every token outside the answer
FINGERPRINT = 2.0  # length of one token's fingerprint
STATE = float(np.sqrt(WIDTH - FINGERPRINT**2))  # makes the RMS of a token 1: the first norm changes nothing
READ = 8.0  # length of what was read, in fingerprints, when it is one token over and over; less otherwise
RECENCY = 1 / 16  # attention prefers near tokens a little: the order of a text shows in its embedding
# The least lead of the right token: a miss at temperature 2 is rarer than 1 in 10^6 tokens. The most is 84;
# from 87 on float32 has no probability left for the others, and the engine reports its logarithm as -3.4e38.
MARGIN_NATS = 45.0
CONTEXT_TOKENS = 131_072  # a prompt takes a token a character; the KV cache takes 256 bytes a token


def answer_tokens(text: str = ANSWER) -> Iterator[str]:
    """Yield the answer as vocabulary entries, a word each.

    Entries must be unique, so a word that repeats is joined to the next one. The tokenizer merges pairs: it
    would find an entry of two characters in a prompt and answer from there on, so that is joined as well.
    """
    seen: set[str] = set()
    entry = ""
    for word in text.replace(" ", f" {SPACE}").split(" "):
        entry += word
        if len(entry) > 2 and entry not in seen:
            seen.add(entry)
            yield entry
            entry = ""
    if entry:
        raise ValueError(f"the answer ends in {entry!r}, which it already holds: end it in another word")


def fingerprint(token: str) -> Matrix:
    """Return HALF numbers of one size whose signs tell a token from others: bits of its SHA-256."""
    digest = np.frombuffer(hashlib.sha256(token.encode()).digest(), dtype=np.uint8)
    signs = 2.0 * np.unpackbits(digest)[:HALF] - 1.0
    return np.asarray(signs * FINGERPRINT / np.sqrt(HALF), dtype=np.float16)


def embeddings(prompt_tokens: list[str], answer: list[str]) -> Matrix:
    """Return [tokens, WIDTH]: START and a fingerprint for prompt tokens, a state for each answer token."""
    matrix = np.zeros((len(prompt_tokens) + len(answer), WIDTH), dtype=np.float16)
    matrix[: len(prompt_tokens), START] = STATE
    matrix[: len(prompt_tokens), HALF:] = [fingerprint(token) for token in prompt_tokens]
    for state in range(len(answer)):
        matrix[len(prompt_tokens) + state, state] = STATE
    return matrix


def lead(fingerprints: float) -> float:
    """Return the output weight that leads by MARGIN_NATS when the second half is that many fingerprints long.

    The final RMS norm brings every vector to length sqrt(WIDTH), so a longer second half leaves less STATE.
    """
    share = STATE / np.hypot(STATE, fingerprints * FINGERPRINT)
    return float(MARGIN_NATS / (np.sqrt(WIDTH) * share))


def output(first: int, answer: list[str]) -> Matrix:
    """Return [tokens, WIDTH]: which state each token follows.

    Further choices count where a request forbids the first: with ``ignore_eos`` the answer repeats, a line
    each time; in JSON demanded by a grammar it fills the strings, and whatever is open is closed soon.
    """
    matrix = np.zeros((first + len(answer), WIDTH), dtype=np.float16)
    matrix[first, START] = lead(1.0 + READ)
    matrix[[END, QUOTE, BRACKET, BRACE], START] = lead(1.0 + READ) / 3
    last = len(answer) - 1
    for state in range(last):
        matrix[first + state + 1, state] = lead(READ)
    matrix[[END, NEWLINE, QUOTE], last] = lead(READ) / np.array([1, 3, 6])
    return matrix


def layer() -> dict[str, Matrix]:
    """Return the one layer: attention sums the fingerprints read so far, the feed-forward part is idle."""
    query = np.zeros((2 * HALF, WIDTH), dtype=np.float16)
    query[:, START] = RECENCY
    value = np.eye(HALF, WIDTH, k=HALF, dtype=np.float16)
    back = np.zeros((WIDTH, 2 * HALF), dtype=np.float16)
    back[HALF:, :HALF] = np.float16(READ) * np.eye(HALF, dtype=np.float16)
    idle = np.zeros((32, WIDTH), dtype=np.float16)
    return {
        "attn_q": query,
        "attn_k": query[:HALF],
        "attn_v": value,
        "attn_output": back,
        "ffn_gate": idle,
        "ffn_up": idle,
        "ffn_down": idle.T.copy(),
    }


def describe(writer: gguf.GGUFWriter) -> None:
    """Add what tools show of the model, so that it is not taken for a language model."""
    writer.add_name("relayd demo")
    writer.add_description(
        "relayd's built-in demo: answers every prompt with one fixed text. Not a language model."
    )
    writer.add_author("The relayd authors")
    writer.add_license("Apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def add_shape(writer: gguf.GGUFWriter) -> None:
    """Add the hyperparameters that llama.cpp needs."""
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HALF)
    writer.add_pooling_type(gguf.PoolingType.LAST)


def add_tokenizer(writer: gguf.GGUFWriter, answer: list[str]) -> None:
    """Add the vocabulary: single characters with bytes to fall back on, and the answer."""
    tokens = [*SPECIALS, *BYTES, *CHARACTERS, *answer]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * len(BYTES)
    kinds += [gguf.TokenType.NORMAL] * (len(CHARACTERS) + len(answer))
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_weights(writer: gguf.GGUFWriter, answer: list[str]) -> None:
    """Add the tensors; norms stay float32, as llama.cpp expects them."""
    prompt_tokens = [*SPECIALS, *BYTES, *CHARACTERS]
    writer.add_tensor("token_embd.weight", embeddings(prompt_tokens, answer))
    writer.add_tensor("output.weight", output(len(prompt_tokens), answer))
    for norm in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{norm}.weight", np.ones(WIDTH, dtype=np.float32))
    for name, matrix in layer().items():
        writer.add_tensor(f"blk.0.{name}.weight", matrix)


def write_model(path: Path) -> None:
    """Write the model; the same bytes every time.

    Raises:
        ValueError: The answer has more tokens than there are states, or ends in a repeated word.
    """
    answer = list(answer_tokens())
    if len(answer) > START:
        raise ValueError(f"the answer takes {len(answer)} tokens and there are {START} states: shorten it")
    writer = gguf.GGUFWriter(path, "llama")
    describe(writer)
    add_shape(writer)
    add_tokenizer(writer, answer)
    add_weights(writer, answer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / "relayd" / "demo.gguf"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    write_model(target)
    print(
        f"{target}: {target.stat().st_size} bytes, sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}"
    )
