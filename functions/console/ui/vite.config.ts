import { defineConfig } from "vite";

// One script, one style sheet and a file for each language but English, no inlining: the page's Content-Security-Policy
// allows files of this origin only.
export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  json: { namedExports: false, stringify: true },
  build: {
    outDir: "dist",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    sourcemap: false,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8082" } },
});
