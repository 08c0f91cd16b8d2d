"""People: users, sign-ins and the audit log."""
