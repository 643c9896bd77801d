"""The one error that means: the user's input is wrong."""

from hume_ssl.harmless import as_line


class InputError(ValueError):
    """The user's input is wrong; the command line turns this into one line on stderr and exit code 2.

    `str(error)` is one line that holds the offending value and the fix. `table` may hold further lines, such as
    how many reliable items each class has; they are printed after the message.
    """

    table: str

    def __init__(self, message: str, table: str = "") -> None:
        # Messages of libraries, quoted in ours, may span lines; a user sees one. A file's name may hold what a terminal
        # obeys, or what is no text.
        super().__init__(as_line(" ".join(message.split())))
        self.table = table
