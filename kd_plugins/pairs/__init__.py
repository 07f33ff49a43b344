"""A teacher, a student, and the terms between them, as a config writes them; nothing here needs torch."""
