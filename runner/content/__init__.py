"""Owns the content of knowledge bases: listing, adding and deleting the documents that a RAG system may look into."""

from __future__ import annotations

from runner.content.adapted import AdaptedContent
from runner.content.adding import Outcome, Tally, add_documents, plan_adding
from runner.content.api import ContentApi, Document, KnowledgeBase
from runner.content.calls import Caller
from runner.content.choosing import choose_documents, choose_knowledge_base
from runner.content.local import LocalFile, find_files
from runner.content.removing import Removal, remove_documents
from runner.content.vector_stores import VectorStores

__all__ = [
    "AdaptedContent",
    "Caller",
    "ContentApi",
    "Document",
    "KnowledgeBase",
    "LocalFile",
    "Outcome",
    "Removal",
    "Tally",
    "VectorStores",
    "add_documents",
    "choose_documents",
    "choose_knowledge_base",
    "find_files",
    "plan_adding",
    "remove_documents",
]
