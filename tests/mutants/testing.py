"""Mistakes in targets with known answers, and tensors made on the wrong device."""

__all__ = ["TESTING"]

SUMS = ("test_targets.py::test_log_z_mean_and_samples_agree_with_a_sum",)
LATTICES = ("test_targets.py::test_a_lattices_sums_are_those_of_all_states",)
FORMULAS = ("test_targets.py::test_energies_of_small_discrete_models_are_their_formulas",)
UNSOLVED = ("test_targets.py::test_an_unsolved_energy_is_the_same_but_for_its_answers",)
DEVICES = ("test_devices.py::test_the_rest",)

TESTING = (
    ("target: the other mode's mass", "targets:two_modes", "_uniform(rng, n, 1) < left",
     "_uniform(rng, n, 1) > left", SUMS),
    ("target: a correlation that the samples lack", "targets:correlated",
     "0.8 * z[:, 0] + 0.6 * z[:, 1]", "0.6 * z[:, 0] + 0.8 * z[:, 1]", SUMS),
    ("target: tails swapped", "targets:logistic", "return -torch.expm1", "return torch.expm1",
     SUMS),
    ("target: a ring as dense at the other side", "geometry:ring", "along, across = -bias",
     "along, across = bias", SUMS),
    ("target: a ring's radii without their Jacobian", "geometry:ring", "reach.log() - ",
     "0 * reach - ", SUMS),
    ("target: a walk that does not come back", "chains:_walks", "range(len(powers) - 2, 0, -1)",
     "range(len(powers) - 1, 1, -1)", LATTICES),
    ("target: an exact mean without its weights", "exact:Grid.mean",
     "torch.tensordot(self.p, f.to(self.p), 1)", "f.to(self.p).mean(0)", LATTICES),
    ("target: spins that are bits", "testing_discrete:Ising.forward", "2 * x - 1", "x", FORMULAS),
    ("target: a field of the other sign", "testing_discrete:Ising.forward", ".sum(1) - s @",
     ".sum(1) + s @", FORMULAS),
    ("target: a coupling that is linear", "testing_discrete:Potts.forward", "pair.exp() / 2",
     "pair / 2", FORMULAS),
    ("target: a sum that is not used", "testing_discrete:enumerated", "grid.log_z", "0.0",
     ("test_targets.py::test_discrete_targets",)),
    ("unsolved: no fingerprint", "unsolved:Unsolved.fingerprint", "fingerprint(self.energy)",
     "None", UNSOLVED),
    ("unsolved: of real numbers", "unsolved:Unsolved.__init__", "self.space = space_of(energy)",
     "pass", UNSOLVED),
    ("unsolved: no Gibbs sampling", "unsolved:Unsolved.__init__", '"gibbs", ', "",
     UNSOLVED),
    ("device: an identity on the default device", "gaussian:Gaussian.covariance",
     ", device=self.mean.device", "", DEVICES),
    ("device: a time on the default device", "schedules:Interpolant.at", ', device="cpu"', "",
     DEVICES),
    ("device: a network on the default device", "random:seeded",
     ', torch.device("cpu")', "", ("test_devices.py::test_sessions_and_their_checkpoints",)),
)  # fmt: skip
