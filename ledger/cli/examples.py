"""Example command lines, as a command's help and the generated reference show them."""


def example(*lines: str) -> str:
    """The epilog of a command: one example a line. The reference and its test read it back."""
    # The backspace tells the formatter to leave the lines as they are.
    return "\b\nExamples:\n" + "\n".join(f"  $ {line}" for line in lines)
