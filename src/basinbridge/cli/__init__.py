"""The command line: it parses, calls the library, and shows; every result is a file."""
