package main

import (
	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/row"
)

// constant is one number with its name in each SDK, "" where the SDK has no use for it.
type constant struct {
	value  int64
	goName string
	cName  string
	cNote  string
	hex    bool
}

type group struct {
	doc       string
	constants []constant
}

// n is a number that both SDKs name.
func n(value int64, goName, cName string) constant {
	return constant{value: value, goName: goName, cName: cName}
}

var table = []group{
	{"Version of the contract.", []constant{
		n(abi.Major, "Major", "WEIR_ABI_MAJOR"),
		n(abi.Minor, "Minor", "WEIR_ABI_MINOR"),
	}},
	{"NoTime means \"no time\".", []constant{
		n(abi.NoTime, "NoTime", ""), // WEIR_NO_TIME is INT64_MIN: an enum has no room for it
	}},
	{"The container: its magic, the sizes of its parts and the flag of a section that may not be skipped.", []constant{
		{value: abi.MagicContainer, goName: "Magic", cName: "WEIR_CONTAINER_MAGIC", cNote: ` /* "WRC1" */`, hex: true},
		n(abi.ContainerHeaderSize, "ContainerHeaderSize", "WEIR_CONTAINER_HEADER_SIZE"),
		n(abi.ContainerEntrySize, "SectionSize", "WEIR_SECTION_SIZE"),
		n(abi.MaxSections, "MaxSections", "WEIR_MAX_SECTIONS"),
		n(abi.SectionMustUnderstand, "MustUnderstand", "WEIR_SECTION_MUST"),
	}},
	{"Kinds of containers.", []constant{
		n(abi.ContainerCall, "KindCall", "WEIR_KIND_CALL"),
		n(abi.ContainerEffects, "KindEffects", "WEIR_KIND_EFFECTS"),
		n(abi.ContainerOpen, "KindOpen", "WEIR_KIND_OPEN"),
		n(abi.ContainerOpened, "KindOpened", "WEIR_KIND_OPENED"),
		n(abi.ContainerDescribe, "KindDescribe", "WEIR_KIND_DESCRIBE"),
		n(abi.ContainerStored, "KindStored", "WEIR_KIND_STORED"),
	}},
	{"Sections of a describe container.", []constant{
		n(abi.DescribeSectionParams, "SectionParams", "WEIR_DESCRIBE_PARAMS"),
	}},
	{"Sections of an open container.", []constant{
		n(abi.OpenSectionFunction, "SectionFunction", "WEIR_OPEN_FUNCTION"),
		n(abi.OpenSectionConfig, "SectionConfig", "WEIR_OPEN_CONFIG"),
		n(abi.OpenSectionCapabilities, "SectionCapabilities", "WEIR_OPEN_CAPABILITIES"),
		n(abi.OpenSectionSchemas, "SectionSchemas", "WEIR_OPEN_SCHEMAS"),
		n(abi.OpenSectionAsset, "SectionAsset", "WEIR_OPEN_ASSET"),
	}},
	{"Sections of an opened container.", []constant{
		n(abi.OpenedSectionHandle, "SectionHandle", "WEIR_OPENED_HANDLE"),
		n(abi.OpenedSectionError, "SectionOpenError", "WEIR_OPENED_ERROR"),
	}},
	{"Sections of a call container, and the sizes of its fixed parts.", []constant{
		n(abi.CallSectionCall, "SectionCall", "WEIR_CALL_CALL"),
		n(abi.CallSectionRows, "SectionRows", "WEIR_CALL_ROWS"),
		n(abi.CallSectionCauses, "SectionCauses", "WEIR_CALL_CAUSES"),
		n(abi.CallSectionSlots, "SectionSlots", "WEIR_CALL_SLOTS"),
		n(abi.CallSectionTimes, "SectionTimes", "WEIR_CALL_TIMES"),
		n(abi.CallSectionKeys, "SectionKeys", "WEIR_CALL_KEYS"),
		n(abi.CallSectionState, "SectionState", "WEIR_CALL_STATE"),
		n(abi.CallSectionMeta, "SectionMeta", "WEIR_CALL_META"),
		n(abi.CallSectionKinds, "SectionKinds", "WEIR_CALL_KINDS"),
		n(abi.CallHeaderSize, "CallHeaderSize", "WEIR_CALL_SIZE"),
		n(abi.CauseSize, "CauseSize", "WEIR_CAUSE_SIZE"),
	}},
	{"Sections of an effects container, and the size of its result.", []constant{
		n(abi.EffectsSectionResult, "SectionResult", "WEIR_EFFECTS_RESULT"),
		n(abi.EffectsSectionText, "SectionText", "WEIR_EFFECTS_TEXT"),
		n(abi.EffectsSectionOutput, "SectionOutput", "WEIR_EFFECTS_OUTPUT"),
		n(abi.EffectsSectionCauses, "SectionOutputCauses", "WEIR_EFFECTS_CAUSES"),
		n(abi.EffectsSectionTimes, "SectionOutputTimes", "WEIR_EFFECTS_TIMES"),
		n(abi.EffectsSectionKinds, "SectionOutputKinds", "WEIR_EFFECTS_KINDS"),
		n(abi.EffectsSectionWrites, "SectionStateWrites", "WEIR_EFFECTS_STATE"),
		n(abi.EffectsSectionChanges, "SectionTimers", "WEIR_EFFECTS_TIMERS"),
		n(abi.ResultSize, "ResultSize", "WEIR_RESULT_SIZE"),
	}},
	{"Kinds of causes; 4 and 5 are reserved.", []constant{
		n(abi.CauseRow, "CauseRow", "WEIR_CAUSE_ROW"),
		n(abi.CauseEventTimer, "CauseEventTimer", "WEIR_CAUSE_EVENT_TIMER"),
		n(abi.CauseProcessingTimer, "CauseProcessingTimer", "WEIR_CAUSE_PROCESSING_TIMER"),
		n(abi.CauseMessage, "CauseMessage", ""),
		n(abi.CauseAnswer, "CauseAnswer", ""),
		n(abi.CauseEndOfInput, "CauseEndOfInput", "WEIR_CAUSE_END"),
	}},
	{"Statuses of a call; 3 is reserved.", []constant{
		n(abi.StatusDone, "StatusDone", "WEIR_STATUS_DONE"),
		n(abi.StatusMore, "StatusMore", "WEIR_STATUS_MORE"),
		n(abi.StatusFailed, "StatusFailed", "WEIR_STATUS_FAILED"),
		n(abi.StatusWants, "StatusWants", ""),
	}},
	{"Codes of a failed cause.", []constant{
		n(abi.CodeUser, "CodeUser", "WEIR_CODE_USER"),
		n(abi.CodeStateTooLarge, "CodeStateTooLarge", "WEIR_CODE_STATE_SIZE"),
		n(abi.CodeStateUnread, "CodeStateUndecodable", "WEIR_CODE_STATE_DECODE"),
	}},
	{"Timer kinds and operations.", []constant{
		n(abi.TimerEvent, "TimerEvent", "WEIR_TIMER_EVENT"),
		n(abi.TimerProcessing, "TimerProcessing", "WEIR_TIMER_PROCESSING"),
		n(abi.TimerSet, "TimerSet", "WEIR_TIMER_OP_SET"),
		n(abi.TimerDelete, "TimerDelete", "WEIR_TIMER_OP_DELETE"),
	}},
	{"Kinds of rows.", []constant{
		n(abi.KindInsert, "RowInsert", "WEIR_ROW_INSERT"),
		n(abi.KindUpdateBefore, "RowUpdateBefore", "WEIR_ROW_UPDATE_BEFORE"),
		n(abi.KindUpdateAfter, "RowUpdateAfter", "WEIR_ROW_UPDATE_AFTER"),
		n(abi.KindDelete, "RowDelete", "WEIR_ROW_DELETE"),
	}},
	{"Levels of log lines.", []constant{
		n(abi.LogDebug, "LogDebug", "WEIR_LOG_DEBUG"),
		n(abi.LogInfo, "LogInfo", "WEIR_LOG_INFO"),
		n(abi.LogWarn, "LogWarn", "WEIR_LOG_WARN"),
		n(abi.LogError, "LogError", "WEIR_LOG_ERROR"),
	}},
	{"Kinds of metrics.", []constant{
		n(abi.MetricCounter, "MetricCounter", "WEIR_METRIC_COUNTER"),
		n(abi.MetricGauge, "MetricGauge", "WEIR_METRIC_GAUGE"),
	}},
	{"Wires of row fields.", []constant{
		n(int64(row.WireVarint), "WireVarint", "WEIR_WIRE_VARINT"),
		n(int64(row.WireFloat64), "WireFloat64", "WEIR_WIRE_FIXED64"),
		n(int64(row.WireBytes), "WireBytes", "WEIR_WIRE_BYTES"),
		n(int64(row.WireDecimal), "WireDecimal", "WEIR_WIRE_DECIMAL"),
		n(int64(row.WireFloat32), "WireFloat32", "WEIR_WIRE_FIXED32"),
	}},
	{"NoProgress is the progress word between calls.", []constant{
		{value: abi.NoCause, goName: "NoProgress", hex: true},
	}},
	{"Limits.", []constant{
		n(abi.MaxSchemaFields, "MaxFields", "WEIR_MAX_FIELDS"),
		n(abi.MaxSchemaLevels, "MaxLevels", "WEIR_MAX_LEVELS"),
		n(abi.MaxNameBytes, "MaxFieldNameBytes", "WEIR_MAX_FIELD_NAME_BYTES"),
		n(abi.MaxIdentifierBytes, "MaxNameBytes", "WEIR_MAX_NAME_BYTES"),
		n(abi.MaxRowFieldID, "MaxFieldID", "WEIR_MAX_FIELD_ID"),
		n(abi.MaxKeyBytes, "MaxKeyBytes", "WEIR_MAX_KEY_BYTES"),
		n(abi.DefaultStateValueBytes, "DefaultMaxFramed", "WEIR_DEFAULT_STATE_BYTES"),
		n(abi.MaxStateValueBytes, "MaxFramedBytes", "WEIR_MAX_STATE_BYTES"),
		n(abi.MaxHostedValueBytes, "MaxHostedBytes", ""),
		n(abi.MaxLogBytes, "MaxLogBytes", ""),
		n(abi.MaxManifestBytes, "MaxManifestBytes", "WEIR_MAX_MANIFEST_BYTES"),
		n(abi.MaxFunctions, "MaxFunctions", "WEIR_MAX_FUNCTIONS"),
		n(abi.MaxInputs, "MaxPerFunction", "WEIR_MAX_PORTS"),
	}},
}
