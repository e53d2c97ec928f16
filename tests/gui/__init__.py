"""Blenders with a real window, on a machine without a screen."""
