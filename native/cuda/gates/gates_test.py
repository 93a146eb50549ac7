"""The gates hold what they say, on copies of the committed table with one number changed."""

import copy
import pathlib
import unittest

import gates
import roofline

COMMITTED = gates.Table.parse(gates.TABLE.read_text())
KEY = ("attention_forward<128>", "sm_90")
WORSE = {"static": "64", "dynamic": "99999", "occupancy": "6.25", "local": "8", "spills": "3", "stg128": "1", "cp.async": "31", "ldsm": "31",
         "mma": "95"}  # fmt: skip


def changed(column, value, key=KEY):
    table = copy.deepcopy(COMMITTED)
    table.rows[key][column] = value
    return table


class Comparing(unittest.TestCase):
    def failures_of(self, built):
        return gates.compare(COMMITTED, built).failures

    def test_the_same_holds(self):
        self.assertEqual(gates.compare(COMMITTED, copy.deepcopy(COMMITTED)), gates.Verdict([], []))

    def test_worse_fails_and_names_kernel_and_values(self):
        for column, value in WORSE.items():
            (failure,) = self.failures_of(changed(column, value))
            self.assertIn("attention_forward<128> on sm_90: " + column, failure)
            self.assertIn(f"is {value}", failure)
            if column not in gates.FORBIDDEN:
                self.assertIn(f"was {COMMITTED.rows[KEY][column]}, ", failure)
                self.assertIn("worse", failure)

    def test_a_load_that_is_no_longer_wide_fails(self):
        key = ("swiglu_kernel<Bf16, true>", "sm_80")
        (failure,) = self.failures_of(changed("ldg128", "1", key))
        self.assertEqual(failure, "swiglu_kernel<Bf16, true> on sm_80: ldg128 was 2, is 1: worse")

    def test_better_asks_for_an_update(self):
        (failure,) = self.failures_of(changed("occupancy", "18.75"))
        self.assertIn("better; update", failure)

    def test_registers_are_said_not_held(self):
        verdict = gates.compare(COMMITTED, changed("registers", "255"))
        self.assertEqual(verdict.failures, [])
        self.assertIn(f"registers was {COMMITTED.rows[KEY]['registers']}, is 255", verdict.notes[0])

    def test_a_kernel_more_or_less_asks_for_an_update(self):
        fewer = copy.deepcopy(COMMITTED)
        del fewer.rows[KEY]
        self.assertIn("attention_forward<128> on sm_90: in the table, not in the library", self.failures_of(fewer)[0])
        self.assertIn("in the library, not in the table", gates.compare(fewer, COMMITTED).failures[0])

    def test_another_compiler_is_said_and_only_what_is_forbidden_fails(self):
        built = changed("mma", "95")
        built.compiler = "nvcc V13.9.1"
        verdict = gates.compare(COMMITTED, built)
        self.assertEqual(verdict.failures, [])
        self.assertIn("nvcc V13.9.1", verdict.notes[0])
        self.assertIn("mma was 96, is 95", verdict.notes[1])
        built.rows[KEY]["spills"] = "2"
        self.assertIn("spills is 2, must be 0", gates.compare(COMMITTED, built).failures[0])


class Reading(unittest.TestCase):
    def test_the_table_reads_back_as_written(self):
        self.assertEqual(COMMITTED.text(), gates.TABLE.read_text())

    def test_occupancy_by_each_limit(self):
        self.assertEqual(gates.occupancy("sm_80", 256, 32, 0), 1.0)
        self.assertEqual(gates.occupancy("sm_80", 32, 16, 0), 0.5)  # 32 blocks at most
        self.assertEqual(gates.occupancy("sm_80", 1024, 33, 0), 0.5)  # registers go by eights: 48 warps, one block of 32
        self.assertEqual(gates.occupancy("sm_90", 128, 160, 0), 3 * 4 / 64)
        self.assertEqual(gates.occupancy("sm_80", 128, 32, 81 * 1024), 2 * 4 / 64)  # 164 KB: twice 81 and the system's 1
        self.assertEqual(gates.occupancy("sm_80", 128, 32, 81 * 1024 + 1), 1 * 4 / 64)

    def test_instructions_are_counted_by_kernel(self):
        listing = """
.text.one:
        /*0000*/                   LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0010*/              @!P0 STG.E.128 desc[UR4][R2.64], R4 ;
        /*0020*/               @P1 LDG.E R4, desc[UR4][R2.64+0x128] ;
        /*0030*/                   STL.64 [R1], R4 ;
.text.two:
        /*0000*/                   LDGSTS.E.BYPASS.128 [R5], desc[UR4][R2.64] ;
        /*0010*/                   LDSM.16.MT88.4 R4, [R5] ;
        /*0020*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;
"""
        one, two = gates.instructions(listing).values()
        self.assertEqual(one, {"spills": 1, "ldg128": 1, "stg128": 1, "cp.async": 0, "ldsm": 0, "mma": 0})
        self.assertEqual(two, {"spills": 0, "ldg128": 0, "stg128": 0, "cp.async": 1, "ldsm": 1, "mma": 1})

    def test_launch_bounds_are_read_with_the_use_of_dynamic_shared_memory(self):
        ptx = """.visible .entry one(
)
.maxntid 128, 1, 1
.minnctapersm 2
{
ret;
}
.extern .shared .align 128 .b8 lethe_dynamic_shared[];
.visible .entry two(
)
{
mov.u32 %r1, lethe_dynamic_shared;
}
"""
        self.assertEqual(gates.launch_bounds(ptx), {"one": (128, False), "two": (None, True)})


class Documenting(unittest.TestCase):
    def test_the_readme_has_the_roofline(self):
        readme = pathlib.Path(gates.__file__).parents[1] / "README.md"
        self.assertIn(roofline.markdown(), readme.read_text(), "put what `python3 native/cuda/gates/roofline.py` prints into it")

    def test_the_roofline_speaks_of_kernels_there_are(self):
        kernels = {kernel for kernel, _ in COMMITTED.rows}
        self.assertLessEqual({kernel for _, kernel, _, _ in roofline.EXPECTED if isinstance(kernel, str)}, kernels)
        names = {kernel.partition("<")[0] for kernel in kernels}
        self.assertEqual(roofline.WORK.keys() | roofline.SMALL, names)


if __name__ == "__main__":
    unittest.main()
