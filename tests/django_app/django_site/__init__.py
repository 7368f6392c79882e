"""A Django project that has what a project has, for the tests of the Django adapter."""
