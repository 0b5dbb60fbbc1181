"""Plugins that make themselves look better than they are, and what catches each."""
