import { defineConfig } from "vite";

// Builds one script, one style sheet and a file for each language except English. Nothing is inlined, since the page's
// Content-Security-Policy allows only files of this origin.
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
