"""Process that annotates until it is killed, and prints each action that the store acknowledges."""

import sys

from samkit.dataengine import Store, replace_annotation, save_annotation

WHERE, IMAGE_ID, USER_ID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SIZE = [12, 16]


def main():
    with Store.open(WHERE) as store:
        while True:
            who = {"user_id": USER_ID, "class_id": None}
            code = {"size": SIZE, "counts": [0, 10, 182]}
            one = save_annotation(store, image_id=IMAGE_ID, rle=code, **who)
            print(one.id, one.version, flush=True)  # noqa: T201
            code = {"size": SIZE, "counts": [5, 20, 167]}
            one = replace_annotation(store, one.id, version=1, rle=code, **who)
            print(one.id, one.version, flush=True)  # noqa: T201


main()
