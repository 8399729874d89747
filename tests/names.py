"""Class names that one program or another would take for markup."""

NAMES = [
    "$0_$10", "$10_$20", "[bold]x[/bold]", "<b>a</b>", "a|b", "_hidden", "100%_&", "=1+1",
    ":dog:", "\u676f\u5b50",
]  # fmt: skip
