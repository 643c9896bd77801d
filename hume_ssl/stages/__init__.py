"""One file a command: read the run folder, call the rooms, write what came out. The command line only parses."""
