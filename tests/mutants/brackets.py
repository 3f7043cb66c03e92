"""Mistakes in the bracket of log Z: its starts, its sides, mixtures, alarms; for mutants.py."""

from __future__ import annotations

BRACKET, STARTS, MIXTURE, ALARMS = "bracket.py", "starts.py", "mixture.py", "alarms.py"
WAY, LAYERS, SMC, GAUSSIANS = "rbm/path.py", "rbm/layers.py", "smc.py", "gaussians.py"


def starts(test: str) -> str:
    return f"test_starts.py::{test}"


SUMS = (starts("test_a_mixture_is_the_sum_of_its_normalised_components"),)
SAME = (starts("test_a_mixture_of_gaussians_is_the_gaussian_mixture"),)
ALONG = (starts("test_an_rbms_path_leads_from_a_mixture_by_rbms_all_along"),)
SLOPE = (starts("test_the_gradient_on_an_rbms_path_is_the_slope_of_its_energy"),)
GIBBS = (starts("test_block_gibbs_from_a_mixture_gives_the_exact_log_z"),)
FOUND = (
    starts("test_clusters_of_one_percent_and_more_are_found"),
    starts("test_clusters_of_other_widths_and_units"),
)
WIDER = (starts("test_a_wider_base_has_three_times_the_spread"),)
BACK = (starts("test_the_way_back_ends_in_every_mode_as_often_as_walkers_come_from_it"),)
BEST = (starts("test_the_best_side_is_not_behind_and_fitted_if_it_can_be"),)
ALONE = (starts("test_chains_where_no_forward_walker_arrives_ring"),)
TEN = (starts("test_each_cluster_of_the_rows_has_ten_chains"),)
RARE = (starts("test_modes_that_are_rare_in_the_rows_are_weighed"),)
PROGRESS = (
    "test_likelihood.py::test_progress_is_shown_by_any_wrapper_of_iterables_and_changes_nothing",
)
SIZE = ("test_smc.py::test_a_pilot_is_no_larger_than_what_it_is_for",)

BRACKETS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("mixture: masses left out", "energies_mixture:Mixture._log_p",
     "(self.log_masses - self.log_norms)", "(0 * self.log_masses - self.log_norms)", SUMS),
    ("mixture: norms left out", "energies_mixture:Mixture._log_p",
     "(self.log_masses - self.log_norms)", "(self.log_masses)", SUMS),
    ("mixture: gradient without responsibilities", "energies_mixture:Mixture.evaluate",
     "(r * g).sum(0)", "g.mean(0)", SAME),
    ("mixture: samples of the first alone", "energies_mixture:Mixture.sample", "drawn[k, torch",
     "drawn[0 * k, torch", SUMS),
    ("mixture: new masses forgotten", "energies_mixture:Mixture.with_masses",
     "return Mixture(self.components, masses)", "return Mixture(self.components)", SAME),
    ("gaussian mixture: new masses forgotten", "gaussian:GaussianMixture.with_masses",
     "new.log_masses = (masses / masses.sum()).log().to(self.log_masses)", "pass", SAME),
    ("machine's path: masses to the power of the temperature", "rbm_path:RBMPath._log_shares",
     "self.log_masses - (1 - beta)", "(1 - beta) * self.log_masses - (1 - beta)", ALONG),
    ("machine's path: the components' norms", "rbm_path:RBMPath.evaluate",
     "start = start + self.log_norms", "pass", ALONG),
    ("machine's path: one component's slope", "rbm_path:RBMPath.gradient",
     "(torch.stack(slopes, 2) * shares[:, None])",
     "(torch.stack(slopes, 2) * torch.eye(shares.shape[1])[0].to(shares))", SLOPE),
    ("machine's path: components drawn blindly", "rbm_path:RBMPath.gibbs",
     "torch.multinomial(shares, 1", "torch.multinomial(torch.ones_like(shares), 1", GIBBS),
    ("layers: everybody draws the first", "layers:Layer.chosen",
     "[one.field for one in layers])[k]", "[one.field for one in layers])[0 * k]", GIBBS),
    ("layers: everybody's precision is the first's", "layers:Normals.chosen",
     "[one.precision for one in layers])[k]", "[one.precision for one in layers])[0 * k]", GIBBS),
    ("clusters: one density", "starts:", "DEPTH = 3", "DEPTH = 0", FOUND),
    ("clusters: a wide radius", "starts:_dense", "1.2 * float(near", "5.0 * float(near", FOUND),
    ("clusters: in the columns' units", "starts:_standardised",
     "(flat - flat.mean(0)) / torch.where(spread > 0, " "spread, 1.0)", "flat - flat.mean(0)",
     FOUND),
    ("rare rows: none", "starts:rare_rows", "[rest[others == k][:more]", "[rest[others == k][:0]",
     TEN),
    ("rare rows: fewer than are seen", "starts:rare_rows", "2 * LEAST - int", "LEAST - int", TEN),
    ("rare rows: as many of each", "starts:rare_rows", " - int((own == k).sum())", "", TEN),
    ("wider: the square of it", "starts:_stretched", "Cholesky(times**2 *", "Cholesky(times *",
     WIDER),
    ("wider: loadings stay", "starts:_stretched", "times * factor.loadings", "factor.loadings",
     WIDER),
    ("wider: sites stay", "starts:wider", "even = torch.zeros_like(base.logits)",
     "even = base.logits / 3", WIDER),
    ("reweighted: equal masses", "starts:reweighted", "mixture.with_masses(masses.to(walkers.x))",
     "mixture.with_masses(torch.ones_like(masses))", BACK),
    ("reweighted: no error", "starts:reweighted", "float((few * spread.var() / r).sqrt())", "0.0",
     BACK),
    ("reweighted: error of the model's shares", "starts:reweighted", "/ masses) @ shares",
     "/ masses) @ masses", (starts("test_the_error_of_the_masses_counts_where_the_chains_are"), )),
    ("reweighted: no least mass", "starts:reweighted", "clamp(min=LIGHTEST)", "clamp(min=1e-30)",
     (starts("test_no_component_is_lighter_than_a_thousandth"), )),
    ("bracket: the first side always", "forward:best_of",
     "    first = [one for one in sides if not any(higher(other.log_z, one.log_z) for other "
     "in " "sides)]\n", "    first = list(sides[:1])\n", BEST),
    ("bracket: led by any lead", "forward:best_of.higher",
     "max(0.1, 2 * math.hypot(a.stderr, b.stderr))", "0.0", BEST),
    ("bracket: vague, if fitted", "forward:best_of", "side.fitted and side.log_z.stderr < 0.1",
     "side.fitted", BEST),
    ("bracket: no other starts", "bracket:_bracket", "if plan.extra_starts else []",
     "if False else ()", RARE),
    ("bracket: chains led back to the base's masses", "backward:backward_side",
     "    if forward.fitted:\n", "    if False:\n",
     (starts("test_the_way_back_of_a_bracket_is_to_the_right_masses"), )),
    ("alarms: chains may stand alone", "alarms:stranded", "if count >= ALONE * len(chains)",
     "if False", ALONE),
    ("alarms: walkers of the last start alone", "alarms:stranded",
     "arrived[mixture.responsibilities", "arrived[:] = False\n        arrived[mixture"
     ".responsibilities", ALONE),
    ("pilot: as large as ever", "pilot:_pilot_size", '"cess": 1 - lost', '"cess": 0.995', SIZE),
    ("pilot: as many walkers as ever", "pilot:_pilot_size", '"n": min(128, n)', '"n": 128', SIZE),
    ("pilot: shows nothing", "pilot:pilot", "zip(range(ahead - shown), progress, strict=False)",
     "()", PROGRESS),
    ("bracket: never asked again", "bracket:_of_the_energy",
     "unsteady(energy, walkers.x, walkers.state.u, calls=OFTEN)", "None",
     ("test_likelihood.py::test_an_energy_that_is_rarely_infinite_is_an_alarm",)),
    ("bracket: any precision will do", "bracket:_of_the_energy", "resolution(walkers.state.u)",
     "None", ("test_likelihood.py::test_energies_too_large_for_their_precision_ask_for_float64",
     )),
)  # fmt: skip
