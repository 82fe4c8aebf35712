"""The commands, a file a subject. A new command is a function in one of them, a new subject a row in `studio.cli`."""
