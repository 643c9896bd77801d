"""One file a command: read the run folder, call the rooms, write what came out. The command line only parses."""

import pandas as pd

# Stages make tables of file names. Where pyarrow is installed (the extra `datasets` brings it), pandas would keep text
# in it, and it refuses names that are no UTF-8.
pd.set_option("mode.string_storage", "python")
