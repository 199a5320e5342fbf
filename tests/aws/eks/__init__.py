"""
EKS, simulated: moto's has no add-ons, access entries, pod identity, versions, updates, nor any state but ``ACTIVE``.

Everything is kept in the shapes that EKS answers with. Source: https://docs.aws.amazon.com/eks/latest/APIReference/.
"""
