"""The web server: who may enter, and the routes beside the pages."""
