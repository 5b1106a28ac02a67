"""Where a registry is known not to do what the specification asks for: by test, or by test and [case], with the reason.
Each is shown to be there still: a test that is named here has to fail (xfail, strict).
"""

from __future__ import annotations

DISTRIBUTION_2_8 = {
    "test_discovery.py::test_a_list_of_tags_has_at_most_n": "lists of tags know no pages before distribution 3",
    "test_discovery.py::test_n_of_zero_is_an_empty_list": "lists of tags know no pages before distribution 3",
    "test_discovery.py::test_last_is_where_the_list_goes_on": "lists of tags know no pages before distribution 3",
    "test_discovery.py::test_every_page_but_the_last_has_a_link": "lists of tags know no pages before distribution 3",
    "test_discovery.py::test_referrers_of_a_manifest": "no referrers API before distribution 3",
    "test_discovery.py::test_referrers_of_what_is_not_there": "no referrers API before distribution 3",
    "test_discovery.py::test_referrers_of_one_type": "no referrers API before distribution 3",
    "test_discovery.py::test_an_index_can_be_a_referrer": "no referrers API before distribution 3",
    "test_discovery.py::test_a_digest_that_is_none": "no referrers API before distribution 3",
    "test_discovery.py::test_a_referrer_that_is_deleted_is_not_listed": "no referrers API before distribution 3",
    "test_pull.py::test_a_part_behind_the_end": "the 416 has a Content-Length that is longer than its body",
    "test_push_manifests.py::test_a_subject_is_confirmed": "no referrers API before distribution 3",
    "test_push_blobs.py::test_a_chunk_out_of_order": "distribution takes chunks at any offset as the next one",
    "test_push_blobs.py::test_a_chunk_that_was_sent_before": "distribution takes chunks at any offset as the next one",
    "test_discovery.py::test_all_tags": "tags come as the storage lists them, not sorted",
    "test_discovery.py::test_more_than_there_are": "tags come as the storage lists them, not sorted",
    "test_support.py::test_a_name_that_is_none[upper case]": "capitals are taken in the first part of a name",
    "test_support.py::test_a_name_that_is_none[too long]": "500 where a part of a name is too long for a file's",
    "test_management.py::test_deleting_a_tag": "only digests can be deleted before distribution 3",
}
"""Debian's docker-registry."""
