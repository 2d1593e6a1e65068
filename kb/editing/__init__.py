"""Editing items in the admin: the same checks as for files, versions, drafts, spreadsheets, reported errors."""
