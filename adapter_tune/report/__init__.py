"""Results as tables, figures and pages; imports no torch."""
