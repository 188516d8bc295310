"""The web face of the inbox: the API, its description, and the page.  Needs the extra ``inbox``."""
