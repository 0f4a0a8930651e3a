"""Answers that are none, or not yet: pages, documents without a card, values behind blanks."""

import json

import pytest

from tests.firstboot.conftest import KEY, Droplet, document, response
from tests.firstboot.test_drive import add_config_drive
from tests.firstboot.test_owner import ETH1, PRIVATE, V1_JSON
from tests.firstboot.test_userdata import run_user_data

SCRIPT = "#!/bin/sh\necho once >>/ran\n"
PAGES = {
    "a meta": "<meta http-equiv='refresh' content='0;url=http://portal/'>\n",
    "a script": "<script>location = 'http://portal/'</script>",
    "a title": "<title>Login</title>",
    "a title behind a mark and blank lines": "\xef\xbb\xbf\r\n \n<title>Login</title>",
}
WITHOUT_CARD = {
    "an empty object": "{}",
    "an id only": '{"droplet_id": 4711}',
    "empty lists": json.dumps(document(interfaces={"public": [], "private": []})),
    "a card without an address": json.dumps(document(interfaces={"public": [{"mac": "?"}]})),
}


@pytest.mark.parametrize("what", PAGES)
def test_any_page_is_asked_for_again(used_droplet: Droplet, what: str) -> None:
    used_droplet.settings = "patience=50\nfirst_delay=0\n"
    run_user_data(used_droplet, user_data=[response(PAGES[what]), response(SCRIPT)])
    assert used_droplet.read("ran") == "once\n"


def test_page_is_neither_a_name_nor_the_absence_of_keys(droplet: Droplet) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    page = response(PAGES["a script"])
    result = droplet.boot(hostname=[page, response("web")], public_keys=[page, response(KEY)])
    assert (droplet.read(droplet.keys), result.hostname) == (f"{KEY}\n", "web")


@pytest.mark.parametrize("what", WITHOUT_CARD)
def test_document_without_a_card_leaves_the_last_answer(used_droplet: Droplet, what: str) -> None:
    used_droplet.boot(interfaces=[ETH1], v1_json=V1_JSON)
    before = used_droplet.read("var/lib/snowdrop/network")
    result = used_droplet.boot(interfaces=[ETH1], v1_json=[response(WITHOUT_CARD[what])])
    assert used_droplet.read("var/lib/snowdrop/network") == before
    assert "eth1 10.135.0.7/16" in result.addresses
    message = "addresses: no network card in the document; the former ones are taken"
    assert message in used_droplet.console


def test_document_without_a_card_is_asked_for_again(droplet: Droplet) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    whole = json.dumps(document(interfaces={"private": [PRIVATE]}))
    result = droplet.boot(interfaces=[ETH1], v1_json=[response("{}"), response(whole)])
    assert "eth1 10.135.0.7/16" in result.addresses


def test_drive_without_a_card_is_no_answer(used_droplet: Droplet) -> None:
    used_droplet.boot(interfaces=[ETH1], v1_json=V1_JSON)
    add_config_drive(used_droplet, interfaces={})
    result = used_droplet.boot(interfaces=[ETH1], listening=False)
    assert "eth1 10.135.0.7/16" in result.addresses


def test_script_behind_many_empty_lines_runs(used_droplet: Droplet) -> None:
    run_user_data(used_droplet, "\r\n" * 5000 + SCRIPT)
    assert used_droplet.read("ran") == "once\n"
    assert "repaired: empty lines at the beginning" in used_droplet.console


def test_host_name_that_is_only_a_byte_order_mark_is_asked_for_again(droplet: Droplet) -> None:
    droplet.settings = "patience=50\nfirst_delay=0\n"
    assert droplet.boot(hostname=[response("\xef\xbb\xbf\n"), response("web")]).hostname == "web"
