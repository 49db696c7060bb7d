"""The one error that a user can put right."""


class Wrong(Exception):
    """What is wrong, where, and what would be right."""
