"""What every plug-in of a kind must do, as functions that try it: ``augaware check`` runs them on one of yours."""
