"""Folders of AdapterHub, as far as more than one part of the package reads them."""
