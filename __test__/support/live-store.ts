import type { SharedStore } from "../../stores/shared-store.ts";

/** Resolves as soon as the store reports changes; to be called before it is used. */
export function isLive(store: Pick<SharedStore, "watch">): Promise<void> {
  const watch = store.watch.bind(store);
  return new Promise((resolve) => {
    store.watch = (listener) =>
      watch({
        ...listener,
        live(is) {
          listener.live(is);
          if (is) resolve();
        },
      });
  });
}
