"""One file for each subject; routes parse, call one function of the data engine, and answer."""
