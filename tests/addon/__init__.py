"""The add-on in real Blenders, each test in a process and a user profile of its own."""
