"""One file per migration; released migrations are never changed."""
