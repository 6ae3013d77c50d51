"""Text to settings: the table of variables, the grammar of the files, and the files themselves."""
