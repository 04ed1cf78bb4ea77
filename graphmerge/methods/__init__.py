"""The merge methods, one file each; a method builds a subgraph out of ops and touches no tensor."""
