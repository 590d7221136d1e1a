"""Hosts: the self-supervised methods. One file each."""
