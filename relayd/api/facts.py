"""What does a model's file state that clients ask for: its size, its window, what it can do?"""

from dataclasses import dataclass

THINKING_MARKS = ("enable_thinking", "<think>", "reasoning_content", "<|channel|>")
"""What templates of models that reason hold."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the header of a model's file states; zeros and empty strings where it is not known.

    Attributes:
        architecture: As llama.cpp names it.
        base_name: What its maker calls the model.
        quantization: Of most of its weights, like `Q4_K_M`.
        size: Bytes of its files.
        parameters: How many weights it has.
        trained_context: Tokens that it was trained on.
        embedding_length: Numbers in one of its vectors.
        vocabulary: Tokens that it knows.
        longest_token: Bytes of the longest one.
        template: How it renders a conversation; empty when it takes none.
        takes_images: It is a projector of images.
        takes_audio: It is a projector of audio.
        fills_in: It names the tokens for filling in between two texts.
        changed_ns: When the file was last written, in ns since 1970.
    """

    architecture: str = ""
    base_name: str = ""
    quantization: str = ""
    size: int = 0
    parameters: int = 0
    trained_context: int = 0
    embedding_length: int = 0
    vocabulary: int = 0
    longest_token: int = 0
    template: str = ""
    takes_images: bool = False
    takes_audio: bool = False
    fills_in: bool = False
    changed_ns: int = 0

    @property
    def takes_tools(self) -> bool:
        """Whether its template shows it tools."""
        return "tools" in self.template

    @property
    def thinks(self) -> bool:
        """Whether its template has a place for reasoning."""
        return any(mark in self.template for mark in THINKING_MARKS)


UNKNOWN = FileFacts()
"""Of a file that was not read yet, or cannot be."""
