"""How actions of each executor class end, said as honestly as it can be shown (D8, D27, D28).

Killing what runs here is `failwell.execute`'s; what that is worth differs by class. `supervised`: nothing more is to
be said. `fenced`: the resource has to refuse what is older. `transactional`: the database knows whether the work was
committed. `unstoppable`: it goes on `elsewhere`. `cooperative`: the caller runs it itself and can only be asked. What
nobody can confirm at the stop may be shown `later`.
"""
