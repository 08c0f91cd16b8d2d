"""Routes of the REST API by subject; each calls one function of the data engine."""
