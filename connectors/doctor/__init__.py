"""`handslag connector doctor`: facts are gathered at the edge, the checks over them are pure.

`facts` says what can be known, `local` and `remote` find it out (the network apart, for a closed one), `checks` turns
facts into codes of the fault table, `examine` puts the three together.
"""
