"""The figures that Pelton shows of itself: ratios of two things measured in turns in one run, and
the ceiling of the machine.

    python -m bench                     all of them; writes bench/results/<date>-<cpu>-<isa>.md
    python -m bench engine kernels      some of them, printed only
    PELTON_ISA=avx2 python -m bench     the same for another instruction set
"""
