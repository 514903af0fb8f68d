"""`handslag doctor`: facts are gathered at the edge, the checks over them are pure."""
