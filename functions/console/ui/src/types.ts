// The answers of the console's API. They follow the Go types of the same names.

export interface Reason { code: string; text: string }
export interface Blocked { action: string; rule: string; text: string }
export interface TriggerRef { type: string; source: string; id: string; time: string }

export interface Decision {
  id: string; seq: number; player: string; jurisdiction: string; brand?: string; erased?: boolean; verdict: "issued" | "suppressed" | "revoked"; words: string;
  trace?: string; total_ms?: number; received?: string;
  decision: string; action: string; kind: string; channel?: string; severity?: string; message?: string; params?: Record<string, unknown>;
  reasons: Reason[]; blocked?: Blocked[]; scores?: Record<string, number>; arm?: string; propensity?: number;
  dedup_key: string; decided_at: string; expires?: string; trigger: TriggerRef; review?: boolean; deadline?: string;
  status?: string; takes?: { decision: string; action?: string; delivered?: boolean }[]; happened?: { status: string; at: string }[]; revoked?: string[];
}

export interface StageNow { total: number; rate: number }
export interface HopNow { n: number; p50_ms: number; p99_ms: number }
export interface Counted { name: string; n: number; text?: string }

export interface Flow {
  at: string; total: number; redelivered: number; stages: Record<string, StageNow>; hops: Record<string, HopNow>;
  rules: Counted[]; actions: Counted[]; jurisdictions: Counted[]; types: Counted[]; second: { unix: number; n: Record<string, number> };
}

export interface TriggerStatus { name: string; delivered: number; retried: number; dead_lettered: number; in_flight: number; lag: number }
export interface BrokerStatus {
  known: boolean; error?: string; accepted: number; refused: number; waiting: number; dead_letters: number; retried: number; triggers: TriggerStatus[];
  full?: string; lost?: { found: string; stream: string; from: number; to: number; events: number }[];
}

export interface Frame {
  flow: Flow; issued: Decision[]; suppressed: Decision[]; skipped: number; broker: BrokerStatus; dead_letters: number; dead_letters_lately: number;
  players: number; bytes: number; review: number; proposed: number; switches: Switch[]; switch_error?: string;
  troubles: Trouble[]; places: Record<string, Place[] | undefined>; models: ModelNow[]; erased: string[]; limited?: boolean;
}
export interface ModelNow { name: string; n: number; too_new: number; missing: number }
export interface Trouble { code: string; what?: string; name?: string; n?: number; since?: string; by?: string; note?: string; href: string }
export interface Place { name: string; decided: number; issued: number; blocked: number; nothing: number; last?: string; starved?: boolean }

export interface Person { name: string; id?: string; roles: string[]; until?: string }
// Me: login says whether people must sign in; sign_in is the address to sign in at the provider; token says whether a token may be entered.
export interface Me { person: Person | null; why?: string; login: boolean; sign_in: string; token: boolean; broker?: boolean; sink?: boolean }

export interface ViewProps { who: Person; url: URL; theme: string }

export interface Contribution { feature: string; value: number; effect: number }
export interface ModelRun { name: string; version: string; sha256: string; output: string; score: number; shadow?: boolean; outside?: string; too_new?: boolean; contributions?: Contribution[] }
export interface Scoring {
  id: string; as_of: string; version: string; due: string[]; trigger: TriggerRef; scores?: Record<string, number>; models?: ModelRun[];
  ranking?: { item: string; score: number }[]; features: Record<string, number>; facts: Facts;
}
export interface Facts {
  jurisdiction?: string; birth_date?: string; brand?: string; currency?: string; tier?: string; time_zone?: string;
  consents?: Record<string, boolean>; exclusions?: { scheme: string; since: string; until?: string }[];
  limits?: Record<string, { amount: number; currency?: string; reached?: string }>; indicators?: Record<string, string>;
  bonus_ever?: boolean; last_game?: string;
}
export interface Refusal { trigger: string; code?: number; reason?: string; at: string }
export interface Moment {
  type: string; source: string; id: string; time: string; at: string; trace?: string; data?: Record<string, unknown>; decision?: Decision; refused?: Refusal[];
}
export interface Player {
  player: string; seen: number; events: Moment[]; scorings: Scoring[]; decisions: Decision[]; facts: Facts;
  state: { version: string; as_of: string; applied: number; late: number; features: Record<string, number> } | null; state_note?: string; masked?: boolean;
}

export interface Bucket { le: number; n: number }
export interface ModelView {
  name: string; version: string; role: "live" | "shadow" | ""; previous?: boolean; kind: string; output: string; sha256: string; features: string[];
  trained: { On?: string[]; Rows?: number; With?: string; Seed?: number }; metrics: Record<string, unknown> | null;
  thresholds: Record<string, number> | null; problem?: string;
  domain?: { products?: string[]; ranges?: Record<string, { min?: number; max?: number }> };
  serving: null | {
    calls: number; errors: number; p50_us: number; p99_us: number; scores: Bucket[]; drift: { feature: string; psi: number }[];
    compare?: { n: number; mean: number; agree: number; other: number };
  };
  calibrated?: { slope: number; offset: number; seen: number; at: string; errors: { n: number; raw: number; decided: number; chance: number; auc: number } };
}

export interface Arm {
  name: string; decisions: number; issued: number; settled: number; stayed: number; rate: number; low: number; high: number;
  uplift?: number; uplift_low: number; uplift_high: number; delivered: number; accepted: number; dismissed: number; expired: number;
}

export interface DeadLetter {
  id: string; at: string; trigger: string; subscriber: string; code: number; reason: string; attempts: number; event: Record<string, unknown>;
}

export interface Rule {
  id: string; version: number; text: string; source: { document: string; article: string; date: string }; effective: { from: string; until: string };
  effect: string; severity: string; reviewed: boolean; applies_to: string[]; when: string; blocked: number;
}
export interface Pack { pack: string; title: string; shared: boolean; include: string[]; rules: Rule[] }
export interface Switch { what: string; name: string; who: string; note: string; at: string }
export interface Change { at: string; who: string; what: string; subject: string; note?: string; hash: string; href?: string }
export interface Proposal {
  id: string; what: string; subject: string; note: string; by: string; at: string; until: string; role: string; mine: boolean;
  body?: { changes?: string[] }; failed?: string;
}
